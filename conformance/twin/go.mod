module gatewright.dev/conformance/twin

go 1.26

require gatewright.dev/sdk v0.0.0

replace gatewright.dev/sdk => ../../sdk/go
