module example.com/sample

go 1.26

replace gatewright.dev/sdk => ../sdk

replace (
	example.com/lib v1.0.0 => ../lib
	example.com/other => example.com/fork v1.1.0
)
