{{- define "spatial-flow.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* 40 characters leave room for what follows, up to the 63 of a label: -producer-<name>-<hash>. What is cut off shows in
a hash, so that two releases of long names never have one name. */ -}}
{{- define "spatial-flow.fullname" -}}
{{- $name := printf "%s-%s" .Release.Name (include "spatial-flow.name" .) -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if contains (include "spatial-flow.name" .) .Release.Name -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- if gt (len $name) 40 -}}
{{- $name = printf "%s-%s" ($name | trunc 31 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- end -}}
{{- $name | trimSuffix "-" -}}
{{- end -}}

{{- /* What an object is called whose own part may be long: (list root "producer-yard"). What is cut off shows in a hash, so
that two of them never have one name. */ -}}
{{- define "spatial-flow.objectName" -}}
{{- $name := printf "%s-%s" (include "spatial-flow.fullname" (index . 0)) (index . 1) -}}
{{- if gt (len $name) 63 -}}
{{- $name = printf "%s-%s" ($name | trunc 54 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- /* Never changes in a release's life: selectors are immutable. (list root component [name]) */ -}}
{{- define "spatial-flow.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "spatial-flow.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 | quote }}
{{- if gt (len .) 2 }}
spatial-flow/name: {{ index . 2 | quote }}
{{- end }}
{{- end -}}

{{- /* Of objects; pods have them but the chart's version, which would roll all pods with each chart. */ -}}
{{- define "spatial-flow.labels" -}}
{{- $root := index . 0 -}}
{{ include "spatial-flow.selector" . }}
app.kubernetes.io/part-of: spatial-flow
app.kubernetes.io/managed-by: {{ $root.Release.Service | quote }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end -}}

{{- define "spatial-flow.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "spatial-flow.selector" . }}
app.kubernetes.io/part-of: spatial-flow
{{- with $root.Values.pod.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "spatial-flow.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "spatial-flow.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* An image of the project: (list root "vision-cuda"). */ -}}
{{- define "spatial-flow.image" -}}
{{- $root := index . 0 -}}
{{- $target := index . 1 -}}
{{- include "spatial-flow.registry" $root -}}
{{- $name := printf "%s/spatial-flow-%s" $root.Values.image.registry $target -}}
{{- with index $root.Values.image.digests (camelcase (replace "-" "_" $target) | untitle) -}}
{{- printf "%s@%s" $name . -}}
{{- else -}}
{{- printf "%s:%s" $name (default $root.Chart.AppVersion $root.Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "spatial-flow.natsImage" -}}
{{- with .Values.nats.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spatial-flow.natsName" -}}{{ include "spatial-flow.fullname" . }}-nats{{- end -}}
{{- define "spatial-flow.natsHeadless" -}}{{ include "spatial-flow.fullname" . }}-nats-headless{{- end -}}

{{- define "spatial-flow.natsURL" -}}
{{- if .Values.nats.enabled -}}nats://{{ include "spatial-flow.natsName" . }}:4222{{- else -}}{{ .Values.nats.url }}{{- end -}}
{{- end -}}

{{- define "spatial-flow.natsMonitoring" -}}
{{- if .Values.nats.enabled -}}
{{ include "spatial-flow.natsHeadless" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:8222
{{- else -}}{{ .Values.nats.monitoring }}{{- end -}}
{{- end -}}

{{- define "spatial-flow.natsSecret" -}}
{{- default (include "spatial-flow.natsName" .) .Values.nats.auth.existingSecret -}}
{{- end -}}

{{- /* The roles at NATS: the services, each worker group by its name, and who publishes or reads from outside. */ -}}
{{- define "spatial-flow.natsRoles" -}}
{{- $roles := list "provisioner" "producer" -}}
{{- range .Values.groups -}}{{- $roles = append $roles .name -}}{{- end -}}
{{- $roles = concat $roles (list "fuser" "gateway" "monitor") (keys (include "spatial-flow.given" .Values.nats.publishers | fromJson) | sortAlpha) (keys (include "spatial-flow.given" .Values.nats.readers | fromJson) | sortAlpha) -}}
{{- join " " $roles -}}
{{- end -}}

{{- /* Of a dict what is not null: an entry that was taken out, as by --set nats.publishers.publisher=null. */ -}}
{{- define "spatial-flow.given" -}}
{{- $given := dict -}}
{{- range $name, $value := . -}}{{- if not (kindIs "invalid" $value) -}}{{- $_ := set $given $name $value -}}{{- end -}}{{- end -}}
{{- toJson $given -}}
{{- end -}}

{{- /* The users at NATS, two of each role, so that one holds while the other is changed; a key of the Secret each. */ -}}
{{- define "spatial-flow.natsUsers" -}}
{{- $users := list -}}
{{- range splitList " " (include "spatial-flow.natsRoles" .) -}}{{- $users = concat $users (list (printf "%s-a" .) (printf "%s-b" .)) -}}{{- end -}}
{{- join " " $users -}}
{{- end -}}

{{- /* Bytes of a quantity as 20Gi, times a share: (list "20Gi" 0.8). */ -}}
{{- define "spatial-flow.bytes" -}}
{{- $quantity := toString (index . 0) -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $factor := get $factors (regexFind "[A-Za-z]*$" $quantity) -}}
{{- printf "%.0f" (floor (mulf (regexFind "^[0-9.]+" $quantity | float64) (float64 $factor) (index . 1))) -}}
{{- end -}}

{{- /* Settings of one worker group or producer: its entry over the defaults. An entry that is null is one that was taken
out, as by --set producers.street=null. (list defaults entry) */ -}}
{{- define "spatial-flow.merged" -}}
{{- $entry := index . 1 -}}
{{- if kindIs "invalid" $entry -}}{{- $entry = dict "enabled" false -}}{{- end -}}
{{- toJson (mustMergeOverwrite (deepCopy (index . 0)) (deepCopy $entry)) -}}
{{- end -}}

{{- /* Whether the cluster, or --api-versions, has a kind: (list root "keda.sh/v1alpha1" "ScaledObject"). A cluster lists
kinds; --api-versions may name the version alone. */ -}}
{{- define "spatial-flow.hasKind" -}}
{{- $apis := (index . 0).Capabilities.APIVersions -}}
{{- $version := index . 1 -}}
{{- if or ($apis.Has (printf "%s/%s" $version (index . 2))) (and ($apis.Has $version) (not ($apis.Has "v1/Pod"))) -}}yes{{- end -}}
{{- end -}}

{{- define "spatial-flow.needKind" -}}
{{- if not (include "spatial-flow.hasKind" .) -}}
{{- fail (printf "%s asks for %s of %s, which this cluster does not have: install it first, or turn that off (helm template: --api-versions %s/%s)" (index . 3) (index . 2) (index . 1) (index . 1) (index . 2)) -}}
{{- end -}}
{{- end -}}

{{- /* What is made once, and kept by looking it up, needs a cluster to look into: (list root what instead). Nothing tells for sure that
there is one. The namespace's own account is there in every namespace that exists, and whoever installs may usually read it; where the
namespace is to be made, kube-system is asked for. Who may not read that is told so by the cluster, and has to name Secrets. */ -}}
{{- define "spatial-flow.needCluster" -}}
{{- $root := index . 0 -}}
{{- if not (or (lookup "v1" "ServiceAccount" $root.Release.Namespace "default") (lookup "v1" "Namespace" "" "kube-system")) -}}
{{- fail (printf "no cluster to look up %s in (helm template, --dry-run=client, Argo CD): each rendering would make new ones. %s; or use --dry-run=server" (index . 1) (index . 2)) -}}
{{- end -}}
{{- end -}}

{{- /* By which names the gateway is called: its Service's, those of Ingress and HTTPRoute (any, where these take any), and
gateway.hosts. */ -}}
{{- define "spatial-flow.gatewayHosts" -}}
{{- $service := printf "%s-gateway" (include "spatial-flow.fullname" .) -}}
{{- $inNamespace := printf "%s.%s" $service .Release.Namespace -}}
{{- $hosts := list $service $inNamespace (printf "%s.svc" $inNamespace) (printf "%s.svc.%s" $inNamespace .Values.clusterDomain) -}}
{{- if .Values.ingress.enabled -}}{{- $hosts = concat $hosts (default (list "*") .Values.ingress.hosts) -}}{{- end -}}
{{- if .Values.httpRoute.enabled -}}{{- $hosts = concat $hosts (default (list "*") .Values.httpRoute.hostnames) -}}{{- end -}}
{{- concat $hosts .Values.gateway.hosts | uniq | join "," -}}
{{- end -}}
