module gatewright.dev/build/policies/add_headers_v1_9_0

go 1.26

require gatewright.dev/sdk v0.0.0
