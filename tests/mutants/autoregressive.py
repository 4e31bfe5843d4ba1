"""Autoregressive flows of U(1) with one thing wrong each, and the laws that must see it."""

from array_api_compat import array_namespace

from haarflow.flows.flow import Model
from haarflow.flows.priors import UniformLinks
from haarflow.flows.u1.autoregressive import Autoregressive, Step
from tests.mutants import Mutant

JACOBIAN = ("log_det_by_differences", "log_det_by_autodiff")
TWO = {"lattice": (2, 2)}


class SeesItsFlux(Step):
    """The coefficients of a step depend on the flux that it maps."""

    def _map(self, flux, total, coefficients):
        xp = array_namespace(flux)
        return super()._map(flux, total, coefficients + xp.concat([xp.cos(flux)] * 2, axis=-1)[None, ...])


class SeesTheNewFlux(Step):
    """The flux left for a step is what remains after it."""

    def _map(self, flux, total, coefficients):
        return super()._map(flux, total - 0.5 * flux, coefficients)


class OneSided(Step):
    """The coefficients are those of the field alone, not of its mirror image too."""

    def _learnt(self, coefficients):
        xp, half, count = array_namespace(coefficients), coefficients.shape[2] // 2, self.flow.waves
        one = coefficients[..., :half]
        return xp.reshape(one[:count, ...], (count, -1)), xp.reshape(one[count:, ...], (count, -1))


class SeesTheLine(Autoregressive):
    """The context of the winding lines contains a line that the shift moves."""

    def _shift(self, direction, params, lines, memory):
        xp = array_namespace(lines)
        return super()._shift(direction, params, lines, memory + xp.concat([xp.cos(lines)] * 2, axis=-1)[None, ...])


class Uncounted(Autoregressive):
    """The shifts of the winding lines are not counted in the log-determinant."""

    def _shift(self, direction, params, lines, memory):
        shift, log_det = super()._shift(direction, params, lines, memory)
        return shift, 0 * log_det


def on_links(step=None, flow=Autoregressive):
    """A model maker with another step, or another flow."""

    class Other(flow):
        def _step(self, *args):
            return (step or Step)(self, *args)

    def make(lattice):
        return Model(UniformLinks(lattice), Other(1.0, 6, 2, 2, 2, 3, 3))

    return make


MUTANTS = (
    Mutant("a step that sees its own flux", "model", on_links(SeesItsFlux), ("round_trip", *JACOBIAN), TWO),
    Mutant("a step that sees the flux after it", "model", on_links(SeesTheNewFlux), ("round_trip", *JACOBIAN), TWO),
    Mutant("a memory without its mirror image", "model", on_links(OneSided), ("equivariance",), TWO),
    Mutant("lines moved by what they are", "model", on_links(flow=SeesTheLine), ("round_trip", *JACOBIAN), TWO),
    Mutant("a shift that is not counted", "model", on_links(flow=Uncounted), JACOBIAN, TWO),
)

HEALTHY = on_links()
