// Command oldest reads objects, one in JSON a line, as strictly as the oldest Kubernetes does that the chart is for: a
// field that it does not know yet is an error.
package main

import (
	"bufio"
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

const longest = 4 << 20 // bytes of a line

func main() {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, autoscalingv2.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longest)
	read, wrong := 0, 0
	for lines.Scan() {
		read++
		if _, _, err := decoder.Decode(lines.Bytes(), nil, nil); err != nil {
			wrong++
			fmt.Printf("%v\n%.200s…\n", err, lines.Text())
		}
	}
	if err := lines.Err(); err != nil || read == 0 || wrong > 0 {
		fmt.Printf("%d of %d objects are not understood, %v\n", wrong, read, err)
		os.Exit(1)
	}
	fmt.Printf("%d objects are understood\n", read)
}
