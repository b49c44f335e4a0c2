{{- define "spatial-flow.registry" -}}
{{- if not .Values.image.registry -}}
{{- fail "image.registry is empty: push the images with `make images push REGISTRY=registry.example.org/team`, then give --set image.registry=registry.example.org/team" -}}
{{- else if not (regexMatch "^[^/[:space:]]([^[:space:]]*[^/[:space:]])?$" .Values.image.registry) -}}
{{- fail (printf "image.registry %q: no blank, and no slash at its ends" .Values.image.registry) -}}
{{- end -}}
{{- end -}}

{{- /* What a schema can't say, because it is about several values, or about an entry over its defaults. */ -}}
{{- define "spatial-flow.check" -}}
{{- include "spatial-flow.registry" . -}}
{{- $full := include "spatial-flow.fullname" . -}}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" $full) -}}
  {{- fail (printf "objects would be named %s…: Kubernetes wants a Service's name to begin with a letter and to have no dot. Give fullnameOverride" $full) -}}
{{- end -}}
{{- /* One key twice would be the chart's or the other's, as the cluster likes. */ -}}
{{- $own := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/part-of" "spatial-flow/name" -}}
{{- include "spatial-flow.checkLabels" (list "pod.labels" .Values.pod.labels $own) -}}
{{- $own = concat $own (list "app.kubernetes.io/managed-by" "app.kubernetes.io/version" "helm.sh/chart") -}}
{{- range $at := list "podMonitor" "prometheusRule" "dashboards" -}}
  {{- include "spatial-flow.checkLabels" (list (printf "metrics.%s.labels" $at) (index $.Values.metrics $at).labels $own) -}}
{{- end -}}
{{- with .Values.nats -}}
  {{- $auth := .auth -}}
  {{- if and $auth.externalSecret.enabled (not (and $auth.externalSecret.storeName $auth.externalSecret.remoteKey)) -}}
    {{- fail "nats.auth.externalSecret.enabled asks for nats.auth.externalSecret.storeName and .remoteKey" -}}
  {{- end -}}
  {{- if and $auth.externalSecret.enabled $auth.existingSecret -}}
    {{- fail "give nats.auth.existingSecret or nats.auth.externalSecret.enabled, not both" -}}
  {{- end -}}
  {{- if .enabled -}}
    {{- if .url -}}{{- fail "nats.url names another NATS: set nats.enabled=false with it" -}}{{- end -}}
    {{- /* JetStream sets aside what each stream may hold at most (flow/bus), and 66 MiB for the entries. */ -}}
    {{- $groups := 0 -}}
    {{- range $.Values.groups -}}{{- if not .retired -}}{{- $groups = add1 $groups -}}{{- end -}}{{- end -}}
    {{- $provision := $.Values.provision -}}
    {{- $live := add (include "spatial-flow.bytes" (list $provision.liveFrameBytes 1.0) | int64) (mul (add1 $groups) (include "spatial-flow.bytes" (list $provision.liveResultBytes 1.0) | int64)) -}}
    {{- $asked := add (mul (add 2 $groups) (include "spatial-flow.bytes" (list $provision.guardBytes 1.0) | int64)) (mul 66 1048576) -}}
    {{- $inMemory := eq $provision.liveStorage "memory" -}}
    {{- if not $inMemory -}}{{- $asked = add $asked $live -}}{{- end -}}
    {{- $room := include "spatial-flow.bytes" (list .storage.size 0.8) | int64 -}}
    {{- if and $provision.enabled (gt $asked $room) -}}
      {{- fail (printf "nats.storage.size %s has room for %d MiB of streams (80 %%), and these ask for %d MiB: %d × provision.guardBytes (%s)%s and 66 MiB. Make the one larger or the other smaller" .storage.size (div $room 1048576) (div $asked 1048576) (add 2 $groups) $provision.guardBytes (ternary "" (printf ", provision.liveFrameBytes (%s), %d × provision.liveResultBytes (%s)" $provision.liveFrameBytes (add1 $groups) $provision.liveResultBytes) $inMemory)) -}}
    {{- end -}}
    {{- $memory := include "spatial-flow.bytes" (list .memoryStore 1.0) | int64 -}}
    {{- if and $provision.enabled $inMemory (gt $live $memory) -}}
      {{- fail (printf "nats.memoryStore %s is less than the %d MiB that live streams ask for (provision.liveStorage is memory): provision.liveFrameBytes (%s) and %d × provision.liveResultBytes (%s). Make the one larger, with nats.resources.limits.memory, or the other smaller" .memoryStore (div $live 1048576) $provision.liveFrameBytes (add1 $groups) $provision.liveResultBytes) -}}
    {{- end -}}
  {{- else -}}
    {{- if not .url -}}{{- fail "nats.enabled=false asks for nats.url, as nats://nats.messaging:4222" -}}{{- end -}}
    {{- if contains "@" .url -}}{{- fail "nats.url holds credentials: they go into the Secret of nats.auth.existingSecret" -}}{{- end -}}
    {{- if not (regexMatch "^((nats|tls)://[^,/[:space:]]+,?)+$" .url) -}}{{- fail (printf "nats.url %q is not nats://host:port or tls://host:port, several separated by commas" .url) -}}{{- end -}}
    {{- if not (or $auth.existingSecret $auth.externalSecret.enabled) -}}
      {{- fail (printf "nats.enabled=false asks for nats.auth.existingSecret: a Secret of what `nats-config --users DIR` makes for the server at %[2]s: the keys %[1]s" (include "spatial-flow.natsUsers" $ | replace " " ", ") .url) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- /* What is open at the gateway gets 20 s, after proxies had the time to send viewers elsewhere. */ -}}
{{- $least := add 20 .Values.gateway.preStopSeconds -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) -}}
  {{- fail (printf "terminationGracePeriodSeconds %v is less than gateway.preStopSeconds %v and the 20 s in which a gateway ends: at least %v" .Values.terminationGracePeriodSeconds .Values.gateway.preStopSeconds $least) -}}
{{- end -}}
{{- if .Values.ingress.enabled -}}
  {{- if and .Values.ingress.tls (not .Values.ingress.hosts) -}}{{- fail "ingress.tls asks for ingress.hosts" -}}{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
  {{- fail "httpRoute.enabled asks for httpRoute.parentRefs: the Gateway it belongs to, as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.monitoringNamespaces) -}}
  {{- fail "metrics.podMonitor.enabled asks for networkPolicy.monitoringNamespaces: nobody may scrape" -}}
{{- end -}}
{{- $names := dict -}}{{- $slots := dict -}}
{{- range .Values.groups -}}
  {{- if hasKey $names .name -}}{{- fail (printf "groups: %s stands there twice" .name) -}}{{- end -}}
  {{- if hasKey $slots (print .slot) -}}{{- fail (printf "groups: %s and %s have slot %v: each has its own" (get $slots (print .slot)) .name .slot) -}}{{- end -}}
  {{- $_ := set $names .name .task -}}{{- $_ := set $slots (print .slot) .name -}}
{{- end -}}
{{- $roles := dict -}}
{{- range splitList " " (include "spatial-flow.natsRoles" .) -}}
  {{- $variable := . | upper | replace "-" "_" -}}
  {{- if hasKey $roles $variable -}}{{- fail (printf "nats.publishers, nats.readers and groups: %s and %s are too much alike; services have the names provisioner, producer, fuser, gateway and monitor" (get $roles $variable) .) -}}{{- end -}}
  {{- $_ := set $roles $variable . -}}
{{- end -}}
{{- if gt (int .Values.provision.liveReplicas) (int (default .Values.nats.replicas .Values.provision.replicas)) -}}
  {{- fail (printf "provision.liveReplicas %v is more than the %v replicas of the other streams" .Values.provision.liveReplicas (default .Values.nats.replicas .Values.provision.replicas)) -}}
{{- end -}}
{{- $on := 0 -}}
{{- range $name, $entry := .Values.workers -}}
  {{- $group := include "spatial-flow.merged" (list $.Values.workerDefaults $entry) | fromJson -}}
  {{- if $group.enabled -}}
    {{- $on = add1 $on -}}
    {{- if not (hasKey $names $name) -}}{{- fail (printf "workers.%s: there is no such group in groups" $name) -}}{{- end -}}
    {{- if ne $group.task (get $names $name) -}}{{- fail (printf "workers.%s.task is %q, and its task in groups %q" $name $group.task (get $names $name)) -}}{{- end -}}
    {{- include "spatial-flow.checkGroup" (list $ (printf "workers.%s" $name) $name $group) -}}
  {{- end -}}
{{- end -}}
{{- if not $on -}}{{- fail "no group of workers is enabled: a frame would have nobody to look at it" -}}{{- end -}}
{{- range $name, $entry := .Values.producers -}}
  {{- $producer := include "spatial-flow.merged" (list $.Values.producerDefaults $entry) | fromJson -}}
  {{- if $producer.enabled -}}
    {{- include "spatial-flow.checkProducer" (list (printf "producers.%s" $name) $producer) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* (list at labels own) */ -}}
{{- define "spatial-flow.checkLabels" -}}
{{- $at := index . 0 -}}{{- $own := index . 2 -}}
{{- range $key, $_ := index . 1 -}}
  {{- if has $key $own -}}{{- fail (printf "%s: %s is the chart's own label" $at $key) -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spatial-flow.checkGroup" -}}
{{- $root := index . 0 -}}{{- $at := index . 1 -}}{{- $name := index . 2 -}}{{- $group := index . 3 -}}
{{- with $group.model -}}
  {{- if and (eq .kind "pvc") (not (and .claim .file)) -}}{{- fail (printf "%s.model.kind is pvc: give model.claim and model.file" $at) -}}{{- end -}}
  {{- if and (eq .kind "url") (not (and .url .sha256)) -}}{{- fail (printf "%s.model.kind is url: give model.url and model.sha256" $at) -}}{{- end -}}
  {{- if regexMatch "://[^/?#]*@" .url -}}{{- fail (printf "%s.model.url holds credentials, which everybody who reads the Deployment would see: put the file on a claim (model.kind pvc) instead" $at) -}}{{- end -}}
{{- end -}}
{{- if and $group.gpu.enabled (eq $group.provider "cpu") -}}{{- fail (printf "%s.gpu.enabled asks for %s.provider cuda or tensorrt" $at $at) -}}{{- end -}}
{{- if and (not $group.gpu.enabled) (ne $group.provider "cpu") -}}{{- fail (printf "%s.provider %s asks for %s.gpu.enabled" $at $group.provider $at) -}}{{- end -}}
{{- with $group.autoscaling -}}
  {{- if ne .type "none" -}}
    {{- if gt (int .min) (int .max) -}}{{- fail (printf "%s.autoscaling.min %v is more than max %v" $at .min .max) -}}{{- end -}}
    {{- if and $group.gpu.enabled (lt (int .cooldown) 300) -}}{{- fail (printf "%s.autoscaling.cooldown %v is less than 300: a pod with a GPU takes minutes to come back" $at .cooldown) -}}{{- end -}}
    {{- if and (lt (int .min) 1) (or (eq .type "hpa") .live.enabled (not .lossless.enabled)) -}}{{- fail (printf "%s.autoscaling.min 0 is for type keda with nothing but lossless: nothing else would bring the first pod" $at) -}}{{- end -}}
  {{- end -}}
  {{- if and (eq .type "hpa") $group.gpu.enabled -}}{{- fail (printf "%s.autoscaling.type hpa looks at the CPU, which says nothing of a GPU: use keda" $at) -}}{{- end -}}
  {{- if eq .type "keda" -}}
    {{- if not (or .lossless.enabled .live.enabled) -}}{{- fail (printf "%s.autoscaling.type keda asks for lossless.enabled or live.enabled" $at) -}}{{- end -}}
    {{- if and .live.enabled (not $root.Values.keda.prometheus.address) -}}{{- fail (printf "%s.autoscaling.live asks for keda.prometheus.address" $at) -}}{{- end -}}
    {{- $hand := default 2 $group.parallel -}}{{- /* 2 is the program's default. */ -}}
    {{- if and .lossless.enabled (le (int .lossless.lag) (int $hand)) -}}{{- fail (printf "%s.autoscaling.lossless.lag %v is not more than the %v frames that a pod has in hand at once: pods at work would call for more pods" $at .lossless.lag $hand) -}}{{- end -}}
    {{- if and .lossless.enabled (not (include "spatial-flow.natsMonitoring" $root)) -}}{{- fail (printf "%s.autoscaling.lossless asks for nats.monitoring when nats.enabled=false" $at) -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "spatial-flow.checkProducer" -}}
{{- $at := index . 0 -}}{{- $producer := index . 1 -}}
{{- with $producer -}}
{{- $values := concat .sources .args -}}
{{- range .env -}}{{- $values = append $values (default "" .value) -}}{{- end -}}
{{- range $values -}}
  {{- /* A password may hold a slash. */ -}}
  {{- if regexMatch "://[^?#]*@" . -}}{{- fail (printf "%s: %s (sources, args or env) holds credentials, which everybody who reads the Deployment would see: put it into a Secret and name that in %s.sourcesSecret" $at (regexReplaceAll "://[^?#]*@" . "://…@") $at) -}}{{- end -}}
{{- end -}}
{{- if not (or .sources .sourcesSecret.name) -}}{{- fail (printf "%s has no source: give %s.sources or %s.sourcesSecret.name" $at $at $at) -}}{{- end -}}
{{- if and (eq .kind "Job") (not .run) -}}{{- fail (printf "%s.kind is Job, which asks for %s.run: without a run's name a new pod would begin anew" $at $at) -}}{{- end -}}
{{- range .volumes -}}
  {{- if hasKey . "hostPath" -}}{{- fail (printf "%s.volumes: %s is a hostPath, which the restricted Pod Security Standard refuses: use a PersistentVolumeClaim" $at .name) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
