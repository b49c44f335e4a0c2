#!/usr/bin/env bash
# Runs the scripts of deploy/eks against programs that only write down how they were called and answer from a table.
# It shows what the scripts do, and in which order. It does not show that AWS accepts it.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin"
for program in aws docker eksctl helm kubectl curl make; do
	cat >"$dir/bin/$program" <<-'END'
		#!/usr/bin/env bash
		call="$(basename "$0") $*"
		echo "$call" >>"$CALLS"
		while IFS='|' read -r pattern code answer; do
			[[ -n $pattern && $call == $pattern ]] || continue
			[ -z "$answer" ] || if [ "$code" = 0 ]; then echo "$answer"; else echo "$answer" >&2; fi
			exit "$code"
		done <<<"$ANSWERS"
	END
done
chmod +x "$dir"/bin/*
export CALLS="$dir/calls" ANSWERS='' PATH="$dir/bin:$PATH"

failed=0
run() { # WANTED-CODE SCRIPT [ARGUMENT...]
	local wanted=$1 code=0
	shift
	: >"$CALLS"
	"deploy/eks/$1" "${@:2}" >"$dir/out" 2>&1 || code=$?
	[ "$code" = "$wanted" ] || wrong "$* ended with $code, not $wanted: $(cat "$dir/out")"
}
wrong() { echo "eks-test: $*" >&2; failed=1; }
said() { grep -qF -- "$1" "$dir/out" || wrong "it did not say: $1"; }
called() { grep -qF -- "$1" "$CALLS" || wrong "it did not call: $1"; }
never() { ! grep -qF -- "$1" "$CALLS" || wrong "it called: $1"; }
order() { # CALL... in this order
	local last=0 line call
	for call; do
		line=$(grep -nF -m1 -- "$call" "$CALLS" | cut -d: -f1 || true)
		[ "${line:-0}" -gt "$last" ] || wrong "not there, or too early: $call"
		last=${line:-$last}
	done
}

# One repository is there, the other is not.
ANSWERS='aws ecr *describe-repositories*spatial-flow-vision *|254|An error occurred (RepositoryNotFoundException) when calling DescribeRepositories
aws ecr *describe-repositories*|0|registry.example/spatial-flow-static
aws ecr *create-repository*|0|registry.example/spatial-flow-vision'
run 0 push.sh static vision
said image.registry=registry.example
never '--repository-name spatial-flow-static'
order 'create-repository --repository-name spatial-flow-vision' 'docker login --username AWS --password-stdin registry.example' \
	'make images push REGISTRY=registry.example IMAGES=static vision'
ANSWERS='aws ecr *|255|Unable to locate credentials'
run 1 push.sh static
said 'Unable to locate credentials'
never create-repository
never make

ANSWERS='aws eks describe-cluster*|0|vpc-1'
run 0 addons.sh
called '--set clusterName=spatial-flow --set region=us-west-2 --set vpcId=vpc-1'
never '--version --values'

run 2 karpenter.sh
never cloudformation
export KARPENTER_CHART=oci://registry.example/karpenter
policies=$'arn:p/one\tarn:p/two'
ANSWERS="aws iam get-role*|0|arn:role/node
aws cloudformation describe-stack-resources*|0|$policies
eksctl get podidentityassociation*|0|null
aws eks describe-access-entry*|254|ResourceNotFoundException"
run 0 karpenter.sh
order 'aws cloudformation deploy' '--permission-policy-arns arn:p/one,arn:p/two' \
	'--principal-arn arn:role/node --type EC2_LINUX' 'helm upgrade --install karpenter oci://registry.example/karpenter' \
	'kubectl apply -f karpenter-gpu.yaml'
ANSWERS="aws iam get-role*|0|arn:role/node
eksctl get podidentityassociation*|0|[{\"ServiceAccountName\": \"karpenter\"}]"
run 0 karpenter.sh
never 'create podidentityassociation'
never create-access-entry

run 2 down.sh
run 2 down.sh another
[ ! -s "$CALLS" ] || wrong "down.sh without the name did something: $(cat "$CALLS")"
ANSWERS='kubectl get pvc*|0|pvc-1 pvc-2'
run 0 down.sh spatial-flow
order 'helm uninstall spatial-flow' 'kubectl delete ingress' 'kubectl delete pvc' 'kubectl wait --for=delete pv/pvc-2' \
	'kubectl delete nodepools' 'kubectl wait --for=delete nodeclaims' 'helm uninstall karpenter' 'eksctl delete cluster' \
	'aws cloudformation delete-stack' 'aws cloudformation wait' 'aws ecr delete-repository' 'aws ec2 describe-volumes'
said 'nothing is left of spatial-flow'
ANSWERS='aws eks describe-cluster*|254|ResourceNotFoundException
aws cloudformation describe-stacks*--stack-name*|255|does not exist
aws ec2 describe-volumes*|0|vol-1	vol-2'
KEEP_IMAGES=1 run 1 down.sh spatial-flow
said 'EBS volume vol-2'
never kubectl
never delete-stack
never delete-repository
ANSWERS='kubectl delete pvc*|1|timed out waiting for the condition'
run 1 down.sh spatial-flow
never 'eksctl delete cluster' # it would leave the volumes

[ "$failed" = 0 ] && echo "the scripts of deploy/eks do what they should, as far as that can be seen without AWS"
