"""``python -m broker.ctl`` is ``intent-ctl``."""

import sys

from broker import ctl

sys.exit(ctl.main())
