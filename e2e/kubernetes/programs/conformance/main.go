// Command gateway-api-conformance is the conformance suite of Gateway API, as a program.
//
//	gateway-api-conformance list     prints the names of its tests, a line each
//	gateway-api-conformance -FLAG …  runs them in the cluster of $KUBECONFIG: flags of the suite, and those of `go test` as -test.FLAG
package main

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "list" {
		for _, test := range tests.ConformanceTests {
			fmt.Println(test.ShortName)
		}
		return
	}
	match := func(pattern, name string) (bool, error) { return regexp.MatchString(pattern, name) }
	suite := []testing.InternalTest{{Name: "TestConformance", F: conformance.RunConformance}}
	testing.Main(match, suite, nil, nil)
}
