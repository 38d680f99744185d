package cli

func interruptSelf() {} // the console has told everybody already
