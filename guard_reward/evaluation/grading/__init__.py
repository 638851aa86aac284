"""How good a guard is: labelled rows, what public sets' labels mean, recorded verdicts, scores, calibration."""
