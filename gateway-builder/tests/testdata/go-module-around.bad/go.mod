module example.com/policies

go 1.26

require (
	example.com/lib v1.0.0
	gatewright.dev/sdk v0.0.0
)

replace gatewright.dev/sdk => ../../../../sdk/go

replace example.com/lib => ../lib
