"""A rush on an Antrian with a promise switched off must FAIL and name the promise."""
