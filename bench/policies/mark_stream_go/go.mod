module gatewright.dev/bench/policies/mark-stream-go

go 1.26

require gatewright.dev/sdk v0.0.0

replace gatewright.dev/sdk => ../../../sdk/go
