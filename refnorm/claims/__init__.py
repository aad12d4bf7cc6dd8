"""What the papers say, measured: `refnorm reproduce`.

    from refnorm.claims import CLAIMS, serial

    result = CLAIMS["stochasticity"].measure(serial())
    result.numbers, result.verdict

One file a paper in catalogue/, each with its claims; a new file there is found by itself.  Importing this room imports
neither matplotlib nor scikit-learn nor SciPy: a claim imports what it needs when it is measured.
"""

from .claim import Claim, Number, Result
from .registry import CLAIMS
from .sweep import Sweep, serial

__all__ = ["CLAIMS", "Claim", "Number", "Result", "Sweep", "serial"]
