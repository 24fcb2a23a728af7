"""``python -m oar_opt`` is the command line."""

from oar_opt.cli import main

main()
