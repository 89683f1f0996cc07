"""Where tasks are done: a pool of processes on this machine (`processes`)."""
