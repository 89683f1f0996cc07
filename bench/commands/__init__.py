"""Commands that read stores, a module each; `bench.cli` registers them. Nothing heavy is imported before a command is called."""
