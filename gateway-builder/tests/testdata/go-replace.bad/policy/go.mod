module example.com/sample

go 1.26

toolchain go1.99.0

godebug default=go1.21

tool example.com/lib/cmd

require example.com/lib v1.0.0

replace gatewright.dev/sdk => ../sdk

replace (
	example.com/lib v1.0.0 => ../lib
	"example.com/other" => example.com/fork v1.1.0 // a fork
)

replace gatewright.dev/sdk v0.0.0 => example.com/sdk v1.0.0

exclude (
	example.com/lib v1.1.0
)

substitute example.com/lib v1.2.0
