package chain

import "strings"

// pathSpelling gives each path one spelling, on which decisions are based. Upstreams decode many spellings alike:
// "/a:b" is "/a%3Ab" and "/a%3ab", and for many upstreams "/a:b/". The upstream gets the client's spelling.
//
// Envoy has already decoded unreserved characters, and encoded characters that are not allowed in a path. The result is
// spelled as the controller writes literals of operations (paths.py): reserved characters as themselves, all others as
// %XX in upper case.
type pathSpelling struct{ keepsSlash bool }

// newPathSpelling makes the spelling for an operation, "GET /{id}/" or "GET /{id} [x-version=2]". Under strictPaths a
// trailing slash makes no other path, unless the operation has one itself.
func newPathSpelling(strict bool, operation string) pathSpelling {
	_, template, _ := strings.Cut(operation, " ")
	template, _, _ = strings.Cut(template, " ")
	return pathSpelling{keepsSlash: !strict || len(template) > 1 && strings.HasSuffix(template, "/")}
}

// reserved are the characters that Envoy passes on as they came, raw or encoded.
const reserved = "!$&'()*+,;=:@[]"

// normalize returns the path, which has no query, in its one spelling.
func (s pathSpelling) normalize(path string) string {
	if !s.keepsSlash && len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	spelled := make([]byte, 0, len(path))
	for n := 0; n < len(path); n++ {
		if path[n] != '%' || n+2 >= len(path) || !isHexDigit(path[n+1]) || !isHexDigit(path[n+2]) {
			spelled = append(spelled, path[n])
			continue
		}
		encoded := strings.ToUpper(path[n : n+3])
		if at := strings.IndexByte(reserved, hexDigit(encoded[1])<<4|hexDigit(encoded[2])); at >= 0 {
			spelled = append(spelled, reserved[at])
		} else {
			spelled = append(spelled, encoded...)
		}
		n += 2
	}
	return string(spelled)
}

func isHexDigit(digit byte) bool {
	return digit >= '0' && digit <= '9' || digit >= 'A' && digit <= 'F' || digit >= 'a' && digit <= 'f'
}

// hexDigit is the value of a digit in upper case.
func hexDigit(digit byte) byte {
	if digit >= 'A' {
		return digit - 'A' + 10
	}
	return digit - '0'
}
