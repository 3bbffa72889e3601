"""The commands, a module NAME_command.py each, and rooms for the work of several modules. They import other rooms of
the command line when they run.
"""
