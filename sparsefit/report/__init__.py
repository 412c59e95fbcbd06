"""Tables, figures and pages drawn from results; needs neither torch nor the compiled core."""
