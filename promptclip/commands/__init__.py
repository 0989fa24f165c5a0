"""The subcommands of `promptclip`, one a file: HELP, add_arguments(parser), run(args) -> exit code.

Whatever lies here is a subcommand. What takes long to import is imported by `run`.
"""
