module gatewright.dev/policy-engine

go 1.26.0

require gatewright.dev/sdk v0.0.0

replace gatewright.dev/sdk => ../../sdk/go
