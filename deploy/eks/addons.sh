#!/bin/sh
# Installs what Spatial-Flow needs on the cluster of cluster.yaml: the storage class, the AWS Load Balancer Controller,
# and NVIDIA's device plugin with time-slicing. It may be run again. Not run on AWS.
#   LOAD_BALANCER_CONTROLLER_CHART  version of that chart; the newest when it is not set
#   DEVICE_PLUGIN_CHART             version of that chart (0.18.0)
set -eu
cd "$(dirname "$0")"

name=$(sed -n 's/^  name: //p' cluster.yaml | head -1)
region=$(sed -n 's/^  region: //p' cluster.yaml | head -1)
for tool in aws helm kubectl; do
	command -v "$tool" >/dev/null || { echo "addons.sh: $tool is missing" >&2; exit 1; }
done

kubectl apply -f storageclass.yaml

vpc=$(aws eks describe-cluster --region "$region" --name "$name" --query cluster.resourcesVpcConfig.vpcId --output text)
helm repo add --force-update eks https://aws.github.io/eks-charts
helm upgrade --install aws-load-balancer-controller eks/aws-load-balancer-controller --namespace kube-system \
	${LOAD_BALANCER_CONTROLLER_CHART:+--version "$LOAD_BALANCER_CONTROLLER_CHART"} \
	--values load-balancer-controller-values.yaml \
	--set "clusterName=$name" --set "region=$region" --set "vpcId=$vpc" --wait

helm repo add --force-update nvdp https://nvidia.github.io/k8s-device-plugin
helm upgrade --install nvidia-device-plugin nvdp/nvidia-device-plugin --namespace nvidia-device-plugin --create-namespace \
	--version "${DEVICE_PLUGIN_CHART:-0.18.0}" --values nvidia-device-plugin-values.yaml
