module example.com/policies/stamp

go 1.26

require gatewright.dev/sdk v0.0.0
