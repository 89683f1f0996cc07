"""Where jobs are done, under one contract (`jobs`): a pool of processes on this machine, this process itself, or a Slurm cluster."""
