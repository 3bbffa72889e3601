module example.com/compiling

go 1.26

require gatewright.dev/sdk v0.0.0

replace gatewright.dev/sdk => ../../product/sdk/go
