#!/bin/sh
# Builds the images and pushes them to the account's registry (ECR): push.sh [IMAGE...]. Not run on AWS.
# IMAGE: static, vision, vision-cuda, standalone; the first three when none is named, which are what the chart runs.
# DOCKERFLAGS goes to docker build: --platform linux/amd64 on an ARM machine. The registry's address is asked from AWS;
# the last line is what the chart wants to know of it.
set -eu
cd "$(dirname "$0")/../.."

region=$(sed -n 's/^  region: //p' deploy/eks/cluster.yaml | head -1) # nodes pull from their own region
[ $# -gt 0 ] || set -- static vision vision-cuda
for tool in aws docker make; do
	command -v "$tool" >/dev/null || { echo "push.sh: $tool is missing" >&2; exit 1; }
done

# uri REPOSITORY: its address, or nothing when it is not there. Another failure, as of credentials, ends the script.
uri() {
	if ! answer=$(aws ecr --region "$region" describe-repositories --repository-names "$1" --query 'repositories[0].repositoryUri' --output text 2>&1); then
		case $answer in
		*RepositoryNotFoundException*) return 0 ;;
		*) echo "push.sh: $answer" >&2; return 1 ;;
		esac
	fi
	echo "$answer"
}

registry=
for image in "$@"; do
	repository="spatial-flow-$image"
	address=$(uri "$repository")
	if [ -z "$address" ]; then
		echo "making the repository $repository"
		address=$(aws ecr --region "$region" create-repository --repository-name "$repository" --image-scanning-configuration scanOnPush=true \
			--tags Key=project,Value=spatial-flow --query repository.repositoryUri --output text)
	fi
	registry=${address%/"$repository"}
done

aws ecr --region "$region" get-login-password | docker login --username AWS --password-stdin "$registry"
make images push REGISTRY="$registry" IMAGES="$*"
echo "image.registry=$registry"
