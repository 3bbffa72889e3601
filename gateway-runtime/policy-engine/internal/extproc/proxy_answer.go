package extproc

import (
	"crypto/rand"
	"strings"

	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/proxyanswer"
	"gatewright.dev/sdk/policy/v1alpha"
)

// Envoy's own answers come to the engine as any response does. Of an exchange that somebody looks at, the engine tells
// Envoy a token, in dynamic metadata. An answer that Envoy makes for such an exchange has a header with the token and with
// what Envoy knows (translate/envoy/local_replies.py). The engine reads the header and takes it away: no policy, client or
// upstream ever sees the token, so that no upstream can write the header.
const (
	watchedNamespace  = "gatewright.watched"
	watchedToken      = "token"
	proxyAnswerHeader = "x-gatewright-proxy-answer"
)

// proxyAnswers are how the engine knows Envoy's own answers, for as long as its process runs.
type proxyAnswers struct {
	token   string
	message []byte // a ProcessingResponse of no answer, that tells Envoy the token
}

func newProxyAnswers() *proxyAnswers {
	p := &proxyAnswers{token: rand.Text()}
	told := &structpb.Struct{Fields: map[string]*structpb.Value{watchedToken: structpb.NewStringValue(p.token)}}
	metadata := &structpb.Struct{Fields: map[string]*structpb.Value{watchedNamespace: structpb.NewStructValue(told)}}
	p.message, _ = proto.Marshal(&servicev3.ProcessingResponse{DynamicMetadata: metadata}) // texts in UTF-8
	return p
}

// ShowProxyAnswer has Envoy's own answer shown.
func (f *front) ShowProxyAnswer(show func(answer proxyanswer.Answer)) { f.showProxy = show }

// tellToken has a message tell Envoy the token.
func (f *front) tellToken(message *outgoing) {
	message.head = append(f.proxy.message[:len(f.proxy.message):len(f.proxy.message)], message.head...) // both, merged
}

// takeProxyAnswer takes Envoy's word that it has answered by itself out of a response, and shows it.
//
//go:noinline
func (f *front) takeProxyAnswer(response *chain.Head) {
	for n, header := range response.Headers {
		if header.Name != proxyAnswerHeader {
			continue
		}
		if answer, ok := f.proxy.read(header.Value); ok {
			kept := make(v1alpha.Headers, 0, len(response.Headers))
			response.Headers = append(append(kept, response.Headers[:n]...), response.Headers[n+1:]...)
			answer.Status = response.Status
			f.answered = true
			f.showProxy(answer)
			return
		}
	}
}

// read reads what Envoy tells: TOKEN FLAGS DETAILS UPSTREAM TRANSPORT, with "-" for what there is not; the last may have
// blanks.
func (p *proxyAnswers) read(text string) (proxyanswer.Answer, bool) {
	parts := strings.SplitN(text, " ", 5)
	if len(parts) < 5 || parts[0] != p.token {
		return proxyanswer.Answer{}, false
	}
	for n := range parts {
		if parts[n] == "-" {
			parts[n] = ""
		}
	}
	return proxyanswer.Answer{Flags: parts[1], Details: parts[2], Upstream: parts[3], Transport: parts[4]}, true
}

// withoutProxyAnswer are the changes of a response that Envoy has made, so that its word does not go on.
func withoutProxyAnswer(changes chain.Changes) chain.Changes {
	changes.Headers.Remove = append(changes.Headers.Remove[:len(changes.Headers.Remove):len(changes.Headers.Remove)], proxyAnswerHeader)
	return changes
}

// PassRefusal answers the response's headers, the first message of a request that a filter before ext_proc has refused. With
// the end of the stream Envoy goes on without the engine.
func (f *front) PassRefusal() error {
	message, err := headersAnswer(&chain.Changes{}, true)
	if err != nil {
		return err
	}
	return f.send(message)
}
