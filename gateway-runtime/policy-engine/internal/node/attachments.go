package node

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"sync/atomic"

	nodev1 "gatewright.dev/policy-engine/gen/node/v1"
	"gatewright.dev/policy-engine/internal/node/transient"
	"gatewright.dev/policy-engine/internal/secrets"
)

// boundAttachment is an attachment with the present values of the secrets that its parameters name.
type boundAttachment struct {
	*nodev1.Attachment
	instance         string // changes with each move of its policy, and with each value of the secrets that it names
	parameters       []byte // with the secrets' values, as are
	systemParameters []byte // these; neither is written anywhere
	refs             []secrets.Ref
}

// binder puts the values of secrets into attachments.
type binder struct {
	policies *atomic.Pointer[policies]
	store    *secrets.Store
	key      []byte // of the hash of secrets in an instance's id: without it, an id would confirm a guessed secret
}

func newBinder(policies *atomic.Pointer[policies], store *secrets.Store) *binder {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return &binder{policies: policies, store: store, key: key}
}

// bind returns the attachment with its secrets. The error of a missing secret is transient.
func (b *binder) bind(api string, attachment *nodev1.Attachment) (*boundAttachment, error) {
	bound := &boundAttachment{Attachment: attachment, instance: attachment.GetInstance(),
		parameters: attachment.GetParameters(), systemParameters: attachment.GetSystemParameters()}
	if moves := (*b.policies.Load())[attachment.GetPolicyName()+":"+attachment.GetPolicyVersion()].Moves; moves > 0 {
		bound.instance += "@" + strconv.Itoa(moves)
	}
	refs, err := refsOf(api, attachment)
	if err != nil || len(refs) == 0 {
		return bound, err
	}
	bound.refs = refs
	hash := hmac.New(sha256.New, b.key)
	values := map[string]string{}
	var errs []error
	for _, text := range []string{api, bound.instance} {
		writeSized(hash.Write, text)
	}
	for _, ref := range refs {
		value, err := b.store.Get(ref)
		if err != nil {
			errs = append(errs, transient.Mark(err))
			continue
		}
		values[ref.Name] = value
		writeSized(hash.Write, ref.Name)
		writeSized(hash.Write, value)
	}
	if err := transient.Join(errs...); err != nil {
		return bound, err
	}
	bound.instance += "-" + hex.EncodeToString(hash.Sum(nil)[:16])
	var paramErr, systemErr error
	bound.parameters, paramErr = secrets.Fill(bound.parameters, values)
	bound.systemParameters, systemErr = secrets.Fill(bound.systemParameters, values)
	return bound, errors.Join(paramErr, systemErr)
}

// writeSized writes the length of a text and the text, so that its end is unambiguous.
func writeSized(write func([]byte) (int, error), text string) {
	_, _ = write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
	_, _ = write([]byte(text))
}

// refsOf returns the secrets that an attachment of an API names, each once.
func refsOf(api string, attachment *nodev1.Attachment) ([]secrets.Ref, error) {
	var refs []secrets.Ref
	seen := map[string]bool{}
	for _, parameters := range [][]byte{attachment.GetParameters(), attachment.GetSystemParameters()} {
		names, err := secrets.Names(parameters)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !seen[name] {
				seen[name] = true
				refs = append(refs, secrets.Ref{API: api, Name: name})
			}
		}
	}
	return refs, nil
}

// secretTexts returns the values of the attachment's secrets, including those of its API.
func (a *boundAttachment) secretTexts() []string {
	return append(secrets.Texts(a.parameters), secrets.Texts(a.systemParameters)...)
}

// hideSecrets removes the values of the attachment's secrets from an error: the policy's author may have put them there.
func (a *boundAttachment) hideSecrets(err error) error {
	if err == nil {
		return nil
	}
	shown := secrets.Hide(err.Error(), a.secretTexts())
	switch {
	case shown == err.Error():
		return err
	case transient.Is(err):
		return transient.Mark(errors.New(shown))
	default:
		return errors.New(shown)
	}
}
