package sample

func GetPolicy() {}
