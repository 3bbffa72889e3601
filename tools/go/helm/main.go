// Command manifests reads Kubernetes manifests from standard input and prints what is wrong with them, a line each: objects of the
// Prometheus Operator and of cert-manager with unknown or wrong fields, and pods that the restricted Pod Security Standard refuses,
// by Kubernetes' own evaluator. It ends with 1 if it has printed anything.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	strict "sigs.k8s.io/yaml"
)

func main() {
	mistakes, err := check(os.Stdin)
	if err != nil {
		mistakes = append(mistakes, err.Error())
	}
	for _, mistake := range mistakes {
		fmt.Println(mistake)
	}
	if len(mistakes) > 0 {
		os.Exit(1)
	}
}

// check returns what is wrong with the manifests in a stream of YAML documents.
func check(manifests io.Reader) ([]string, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, err
	}
	var mistakes []string
	documents := yaml.NewDocumentDecoder(io.NopCloser(manifests))
	buffer := make([]byte, 1<<20)
	for {
		length, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return mistakes, nil
		}
		if err != nil {
			return mistakes, err
		}
		mistakes = append(mistakes, checkDocument(bytes.Clone(buffer[:length]), evaluator)...)
	}
}

func checkDocument(document []byte, evaluator policy.Evaluator) []string {
	var head metav1.PartialObjectMetadata
	if err := strict.Unmarshal(document, &head); err != nil {
		return []string{err.Error()}
	}
	name := head.Kind + " " + head.Name
	var err error
	switch head.Kind {
	case "ServiceMonitor":
		err = strict.UnmarshalStrict(document, &monitoring.ServiceMonitor{})
	case "Certificate":
		err = strict.UnmarshalStrict(document, &certmanager.Certificate{})
	case "Deployment":
		deployment := &appsv1.Deployment{}
		if err = strict.UnmarshalStrict(document, deployment); err == nil {
			return refusals(name, deployment, evaluator)
		}
	}
	if err != nil {
		return []string{name + ": " + err.Error()}
	}
	return nil
}

// refusals returns why the restricted Pod Security Standard refuses the pods of a Deployment.
func refusals(name string, deployment *appsv1.Deployment, evaluator policy.Evaluator) []string {
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	template := deployment.Spec.Template
	var reasons []string
	for _, result := range evaluator.EvaluatePod(restricted, &template.ObjectMeta, &template.Spec) {
		if !result.Allowed {
			reasons = append(reasons, fmt.Sprintf("%s: the restricted Pod Security Standard refuses its pods: %s (%s)", name, result.ForbiddenReason, result.ForbiddenDetail))
		}
	}
	return reasons
}
