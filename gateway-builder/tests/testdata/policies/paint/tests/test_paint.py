raise SystemExit("a build leaves tests out")
