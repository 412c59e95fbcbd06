"""From steps-to-result to fit, decomposition and verdict; needs neither torch nor the compiled core."""
