"""How many random faults do the tests catch? Mutation testing of core, theories and flows with cosmic-ray's operators.

    python -m tests.mutation.sample              draw the mutants, once: sample.json (committed)
    python -m tests.mutation.reached             which test runs which line: tests run under coverage
    python -m tests.mutation.run [--shard 0/2]   run the tests of each mutant: results.jsonl, resumable
    python -m tests.mutation.score               the share that is caught, by package, and what survived

A mutant is caught when one of the tests that reach its line fails, tests of the same package and the laws among them: mirrored
tests first, the quickest first. Needs `pip install -e '.[mutation]'`.
"""
