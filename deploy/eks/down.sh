#!/bin/sh
# Takes everything of this folder down, in the order that leaves nothing behind, and says what is still there:
#   down.sh NAME    NAME of the cluster in cluster.yaml, so that nobody does it by mistake
# It deletes the release with all its data, the cluster and the images. Not run on AWS.
#   NAMESPACE, RELEASE  of the chart (spatial-flow)
#   KEEP_IMAGES=1       leaves the repositories in ECR
# What stops it may be run again after the cause is gone: what is deleted already is passed over.
set -eu
cd "$(dirname "$0")"

name=$(sed -n 's/^  name: //p' cluster.yaml | head -1)
region=$(sed -n 's/^  region: //p' cluster.yaml | head -1)
namespace=${NAMESPACE:-spatial-flow}
release=${RELEASE:-spatial-flow}
if [ "${1:-}" != "$name" ]; then
	echo "down.sh $name: deletes the cluster $name in $region, the release $release with all its data, and the images" >&2
	exit 2
fi
for tool in aws eksctl helm kubectl; do
	command -v "$tool" >/dev/null || { echo "down.sh: $tool is missing" >&2; exit 1; }
done

if aws eks describe-cluster --region "$region" --name "$name" >/dev/null 2>&1; then
	aws eks update-kubeconfig --region "$region" --name "$name" >/dev/null
	# While their controllers still run: the Ingress takes its load balancer along, the claims their volumes.
	helm uninstall "$release" --namespace "$namespace" --ignore-not-found --wait --timeout 10m
	kubectl delete ingress --all --namespace "$namespace" --timeout=10m
	kubectl delete pod --all --namespace "$namespace" --timeout=5m
	claims=$(kubectl get pvc --namespace "$namespace" --output 'jsonpath={.items[*].spec.volumeName}')
	kubectl delete pvc --all --namespace "$namespace" --timeout=10m
	for volume in $claims; do kubectl wait --for=delete "pv/$volume" --timeout=10m; done
	if kubectl get crd nodepools.karpenter.sh >/dev/null 2>&1; then
		# A NodePool that goes takes its nodes along; without Karpenter nobody would end them.
		kubectl delete nodepools.karpenter.sh --all --timeout=15m
		kubectl wait --for=delete nodeclaims.karpenter.sh --all --timeout=15m
		kubectl delete ec2nodeclasses.karpenter.k8s.aws --all --timeout=15m
		helm uninstall karpenter --namespace kube-system --ignore-not-found --wait
	fi
	eksctl delete cluster --config-file cluster.yaml --disable-nodegroup-eviction --wait
fi
if aws cloudformation describe-stacks --region "$region" --stack-name "Karpenter-$name" >/dev/null 2>&1; then
	aws cloudformation delete-stack --region "$region" --stack-name "Karpenter-$name"
	aws cloudformation wait stack-delete-complete --region "$region" --stack-name "Karpenter-$name"
fi
if [ -z "${KEEP_IMAGES:-}" ]; then
	for image in static vision vision-cuda standalone; do
		if aws ecr describe-repositories --region "$region" --repository-names "spatial-flow-$image" >/dev/null 2>&1; then
			aws ecr delete-repository --region "$region" --repository-name "spatial-flow-$image" --force >/dev/null
		fi
	done
fi

# What still costs money. Volumes are found by the namespace of their claim, the others by the cluster's name.
left=
look() { # WHAT COMMAND...: remembers what the command names
	what=$1
	shift
	found=$("$@" --region "$region" --output text | tr '\t' '\n' | grep -v '^None$' || true)
	[ -z "$found" ] || left="$left$(printf '%s' "$found" | sed "s/^/$what /")
"
}
look "EBS volume" aws ec2 describe-volumes --query 'Volumes[].VolumeId' \
	--filters "Name=tag:kubernetes.io/created-for/pvc/namespace,Values=$namespace"
look "instance" aws ec2 describe-instances --query 'Reservations[].Instances[].InstanceId' \
	--filters "Name=tag-key,Values=kubernetes.io/cluster/$name" Name=instance-state-name,Values=pending,running,stopping,stopped
look "load balancer" aws resourcegroupstaggingapi get-resources --query 'ResourceTagMappingList[].ResourceARN' \
	--resource-type-filters elasticloadbalancing --tag-filters "Key=elbv2.k8s.aws/cluster,Values=$name"
look "NAT gateway" aws ec2 describe-nat-gateways --query 'NatGateways[].NatGatewayId' \
	--filter "Name=tag:alpha.eksctl.io/cluster-name,Values=$name" Name=state,Values=pending,available
look "stack" aws cloudformation describe-stacks --query "Stacks[?starts_with(StackName,'eksctl-$name-')||StackName=='Karpenter-$name'].StackName"
[ -n "${KEEP_IMAGES:-}" ] || look "ECR repository" aws ecr describe-repositories \
	--query "repositories[?starts_with(repositoryName,'spatial-flow-')].repositoryName"
if [ -n "$left" ]; then
	printf 'still there, and it costs money:\n%s' "$left" >&2
	exit 1
fi
echo "nothing is left of $name"
