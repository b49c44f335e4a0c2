#!/bin/sh
# Installs Karpenter on the cluster of cluster.yaml, with its rights by Pod Identity, and the GPU nodes of
# karpenter-gpu.yaml. It may be run again. Not run on AWS.
#   KARPENTER_CHART  address of Karpenter's chart, as its own guide names it (karpenter.sh, Getting Started, "Install
#                    Karpenter": the oci:// word of the helm command)
set -eu
cd "$(dirname "$0")"

version=${KARPENTER_VERSION:-1.14.1}
name=$(sed -n 's/^  name: //p' cluster.yaml | head -1)
region=$(sed -n 's/^  region: //p' cluster.yaml | head -1)
for tool in aws curl eksctl helm kubectl; do
	command -v "$tool" >/dev/null || { echo "karpenter.sh: $tool is missing" >&2; exit 1; }
done
: "${KARPENTER_CHART:?the address of the chart of Karpenter: see the top of this file}"

# The node's role, the controller's policies and the queue of interruptions are Karpenter's own, of the same version.
template=$(mktemp)
trap 'rm -f "$template"' EXIT
curl -fsSL -o "$template" "https://raw.githubusercontent.com/aws/karpenter-provider-aws/v$version/website/content/en/preview/getting-started/getting-started-with-karpenter/cloudformation.yaml"
aws cloudformation deploy --region "$region" --stack-name "Karpenter-$name" --template-file "$template" \
	--capabilities CAPABILITY_NAMED_IAM --parameter-overrides "ClusterName=$name" --no-fail-on-empty-changeset

node=$(aws iam get-role --role-name "KarpenterNodeRole-$name" --query Role.Arn --output text)
policies=$(aws cloudformation describe-stack-resources --region "$region" --stack-name "Karpenter-$name" \
	--query "StackResources[?ResourceType=='AWS::IAM::ManagedPolicy'].PhysicalResourceId" --output text | tr -s '[:space:]' ',')
policies=${policies%,}

if ! eksctl get podidentityassociation --region "$region" --cluster "$name" --namespace kube-system \
	--service-account-name karpenter --output json | grep -q '"ServiceAccountName": *"karpenter"'; then
	eksctl create podidentityassociation --region "$region" --cluster "$name" --namespace kube-system \
		--service-account-name karpenter --permission-policy-arns "$policies"
fi
if ! aws eks describe-access-entry --region "$region" --cluster-name "$name" --principal-arn "$node" >/dev/null 2>&1; then
	aws eks create-access-entry --region "$region" --cluster-name "$name" --principal-arn "$node" --type EC2_LINUX >/dev/null
fi

helm upgrade --install karpenter "$KARPENTER_CHART" --version "$version" --namespace kube-system \
	--set "settings.clusterName=$name" --set "settings.interruptionQueue=$name" \
	--set controller.resources.requests.cpu=250m --set controller.resources.requests.memory=512Mi \
	--set controller.resources.limits.memory=1Gi --wait
kubectl apply -f karpenter-gpu.yaml
