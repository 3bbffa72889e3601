package v1alpha

import "encoding/json"

// Runtime is the language of a policy.
type Runtime string

// The runtimes.
const (
	RuntimeGo     Runtime = "go"
	RuntimePython Runtime = "python"
)

// HeaderMode is whether a policy wants to be called for a header phase.
type HeaderMode string

// BodyMode is whether and how a policy wants a body.
type BodyMode string

// EncodedBodies is the treatment of a wanted body that has a content encoding other than identity. DECODE, the default: the
// policy receives it decoded, without the headers content-encoding and content-length; a body that is not gzip, deflate, br or
// zstd, or not whole, fails with ClassBadBody. PASS: the policy receives it as it is, and also a range of a body (RFC 9110,
// 14), which fails with ClassBadBody otherwise. REFUSE: the execution fails with ClassBadBody.
type EncodedBodies string

// The modes.
const (
	HeaderSkip    HeaderMode = "SKIP"
	HeaderProcess HeaderMode = "PROCESS"
	BodySkip      BodyMode   = "SKIP"
	BodyBuffer    BodyMode   = "BUFFER"
	BodyStream    BodyMode   = "STREAM"

	EncodedRefuse EncodedBodies = "REFUSE"
	EncodedPass   EncodedBodies = "PASS"
	EncodedDecode EncodedBodies = "DECODE"
)

// PolicyDefinition is a policy-definition.yaml, as JSON, without the restrictions of executors (files and network of a Python
// policy).
type PolicyDefinition struct {
	Name             string               `json:"name"`
	Version          string               `json:"version"`
	DisplayName      string               `json:"displayName,omitempty"`
	Description      string               `json:"description,omitempty"`
	Runtime          Runtime              `json:"runtime"`
	ProcessingMode   ProcessingModeConfig `json:"processingMode"`
	Parameters       json.RawMessage      `json:"parameters,omitempty"`       // JSON Schema 2020-12
	SystemParameters json.RawMessage      `json:"systemParameters,omitempty"` // JSON Schema 2020-12
	AllowContinue    *bool                `json:"allowContinue,omitempty"`    // false: no attachment may say onError: continue; nil is true
	PrepareTimeout   string               `json:"prepareTimeout,omitempty"`   // limit for prepare of a Python policy: "30s"; empty is 10 s
}

// ProcessingModeConfig is the phases in which a policy is called. A policy that wants headers of one direction and buffers its
// body is called once, with both; one that streams the body is called with the headers first. The zero value of a mode is SKIP,
// that of EncodedBodies is DECODE.
type ProcessingModeConfig struct {
	RequestHeaderMode  HeaderMode `json:"requestHeaderMode,omitempty"`
	RequestBodyMode    BodyMode   `json:"requestBodyMode,omitempty"`
	ResponseHeaderMode HeaderMode `json:"responseHeaderMode,omitempty"`
	ResponseBodyMode   BodyMode   `json:"responseBodyMode,omitempty"`

	RequestBodyInResponse bool          `json:"requestBodyInResponse,omitempty"` // OnResponse receives the request's body too
	EncodedBodies         EncodedBodies `json:"encodedBodies,omitempty"`
}

// WantsRequest reports whether the policy is to be called for requests at all.
func (m ProcessingModeConfig) WantsRequest() bool {
	return m.RequestHeaderMode == HeaderProcess || m.WantsRequestBody()
}

// WantsResponse reports whether the policy is to be called for responses at all.
func (m ProcessingModeConfig) WantsResponse() bool {
	return m.ResponseHeaderMode == HeaderProcess || m.WantsResponseBody()
}

// WantsRequestBody reports whether the policy wants the request's body: whole, or as a stream.
func (m ProcessingModeConfig) WantsRequestBody() bool { return isWanted(m.RequestBodyMode) }

// WantsResponseBody reports whether the policy wants the response's body: whole, or as a stream.
func (m ProcessingModeConfig) WantsResponseBody() bool { return isWanted(m.ResponseBodyMode) }

// BuffersRequestBody reports whether OnRequest receives the whole body.
func (m ProcessingModeConfig) BuffersRequestBody() bool { return m.RequestBodyMode == BodyBuffer }

// BuffersResponseBody reports whether OnResponse receives the whole body.
func (m ProcessingModeConfig) BuffersResponseBody() bool { return m.ResponseBodyMode == BodyBuffer }

// StreamsRequestBody reports whether OnRequestStream is called.
func (m ProcessingModeConfig) StreamsRequestBody() bool { return m.RequestBodyMode == BodyStream }

// StreamsResponseBody reports whether OnResponseStream is called.
func (m ProcessingModeConfig) StreamsResponseBody() bool { return m.ResponseBodyMode == BodyStream }

func isWanted(mode BodyMode) bool { return mode != BodySkip && mode != "" }
