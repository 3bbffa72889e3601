module gatewright.dev/sdk

go 1.26
