"""Studies of teacher-student pairs: what to run (study, presets), when (planner, search), on what (launch)."""
