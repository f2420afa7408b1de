"""Parts that pages share. They are given values and know no state; the look is in assets/."""
