"""Control runs: a rush against an Antrian with a promise switched off must FAIL and name it."""
