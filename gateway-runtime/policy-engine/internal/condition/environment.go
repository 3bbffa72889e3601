package condition

import (
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	celenv "cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// The variables.
const (
	method       = "request.method"
	path         = "request.path"
	pathSegments = "request.path_segments"
	query        = "request.query"
	headers      = "request.headers"
	pathParams   = "request.path_params"
	host         = "request.host"
	scheme       = "request.scheme"
	clientIP     = "request.client_ip"
	subject      = "request.peer.subject"
	issuer       = "request.peer.issuer"
	dnsNames     = "request.peer.dns_names"
	uris         = "request.peer.uris"
	emails       = "request.peer.email_addresses"
	ips          = "request.peer.ip_addresses"
	fingerprint  = "request.peer.fingerprint"
	metadata     = "metadata"
	lowerASCII   = "lowerAscii"
)

// names lists them, in the order in which a mistake lists them.
var names = []string{method, path, pathSegments, query, headers, pathParams, host, scheme, clientIP, subject, issuer, dnsNames, uris, emails, ips, fingerprint, metadata}

// variables declares their types.
func variables() []cel.EnvOption {
	ofType := func(name string) *cel.Type {
		switch name {
		case headers, pathParams:
			return cel.MapType(cel.StringType, cel.StringType)
		case query:
			return cel.MapType(cel.StringType, cel.ListType(cel.StringType))
		case metadata:
			return cel.MapType(cel.StringType, cel.DynType)
		case pathSegments, dnsNames, uris, emails, ips:
			return cel.ListType(cel.StringType)
		default:
			return cel.StringType
		}
	}
	options := make([]cel.EnvOption, 0, len(names))
	for _, name := range names {
		options = append(options, cel.Variable(name, ofType(name)))
	}
	return options
}

// environment is CEL's environment for all conditions. It is made at its first use.
//
// It has no clock, and none of CEL's times, whose functions read files of time zones. Of CEL's extensions it has only
// those whose results are no larger than their arguments: a text that is replaced, joined or formatted can grow without
// limit.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	lower := cel.MemberOverload("string_lower_ascii", []*cel.Type{cel.StringType}, cel.StringType, cel.UnaryBinding(toLowerASCII))
	options := append(
		variables(),
		cel.StdLib(cel.StdLibSubset(celenv.NewLibrarySubset().AddExcludedFunctions(celenv.NewFunction("timestamp"), celenv.NewFunction("duration")))),
		cel.Function(lowerASCII, lower),
		ext.Network(),
		cel.ParserRecursionLimit(64),
		cel.ParserErrorRecoveryLimit(4),
		cel.ParserExpressionSizeLimit(MaxBytes),
		cel.ExpressionNodeLimit(2*MaxBytes),
		cel.RegexProgramSizeLimit(MaxRegex),
		cel.ASTValidators(
			cel.ValidateRegexLiterals(), cel.ValidateComprehensionNestingLimit(MaxNesting), literalPatterns{}, wholeMaps{},
		),
	)
	return cel.NewCustomEnv(options...)
})

func toLowerASCII(value ref.Val) ref.Val {
	text, ok := value.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(value)
	}
	return types.String(strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, string(text)))
}
