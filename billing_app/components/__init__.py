"""Components that pages share. They take values and know no state; styles are in assets/."""
