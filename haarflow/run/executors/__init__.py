"""Where the blocks of a run are drawn: processes of this machine, Dask, MPI, jobs of a scheduler; who the workers are."""
