package compiling

func GetPolicy(
