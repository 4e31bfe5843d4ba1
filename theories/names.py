"""Names of observables that theories and their exact results share."""

WILSON = ((1, 2), (2, 2), (2, 3), (3, 3))  # the Wilson loops that gauge theories measure, where they fit


def wilson_name(extent: tuple[int, int]) -> str:
    """Return the name under which `observables` and `exact` list a Wilson loop.

    >>> wilson_name((1, 2))
    'wilson_1x2'
    """
    return f"wilson_{extent[0]}x{extent[1]}"
