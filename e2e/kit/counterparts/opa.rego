package orders

import rego.v1

# Everybody may read but what is under /internal. Only gold customers may write.
default allow := false

allow if {
	input.method == "GET"
	not "internal" in input.path_segments
}

allow if {
	input.method == "POST"
	input.headers["x-tier"] == "gold"
}

# A decision that says more than yes or no.
decision := {"allow": true, "headers": {"x-role": "reader"}, "identity": {"subject": input.query.user[0]}} if {
	allow
} else := {"allow": false, "status": 402, "headers": {"x-reason": "tier"}, "body": {"error": "Gold customers alone."}} if {
	input.method == "POST"
}

# What it sees of a request.
view := {"allow": true, "headers": {"x-opa": json.marshal({
	"path": input.path,
	"segments": input.path_segments,
	"host": input.host,
	"client": input.client_ip,
	"header": split(input.headers["x-many"], ","),
	"parameter": input.query.a,
})}}
