"""What a study takes before it is done: times, memory, disk, days, money."""
