"""``python -m pushforward``: the command, where its folder is not on the path."""

from pushforward.cli import main

if __name__ == "__main__":
    main()
