"""What the terminal shows."""

from rich.console import Console


def console() -> Console:
    """Colours and the terminal's width on a terminal, plain lines of 144 columns elsewhere."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=144)
