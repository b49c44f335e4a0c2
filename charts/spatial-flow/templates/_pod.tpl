{{- /* What every pod has, so that it runs under the restricted Pod Security Standard. (list root settings) */ -}}
{{- define "spatial-flow.pod" -}}
{{- $root := index . 0 -}}
{{- $settings := index . 1 -}}
serviceAccountName: {{ include "spatial-flow.serviceAccountName" $root | quote }}
automountServiceAccountToken: false
{{- /* A Service named spatialflow-nats would set SPATIALFLOW_NATS_PORT, which is a flag. */}}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with default $root.Values.pod.priorityClassName $settings.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with default $root.Values.pod.nodeSelector $settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with default $root.Values.pod.affinity $settings.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* (list root settings [more]) */ -}}
{{- define "spatial-flow.tolerations" -}}
{{- $root := index . 0 -}}
{{- $tolerations := default $root.Values.pod.tolerations (index . 1).tolerations -}}
{{- if gt (len .) 2 -}}{{- $tolerations = concat $tolerations (index . 2) -}}{{- end -}}
{{- with $tolerations -}}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* (list constraints selectorLabels) */ -}}
{{- define "spatial-flow.spread" -}}
{{- $labels := index . 1 -}}
{{- with index . 0 -}}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "spatial-flow.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- /* Annotations of a pod: (list root [name value]). */ -}}
{{- define "spatial-flow.podAnnotations" -}}
{{- $annotations := deepCopy (index . 0).Values.pod.annotations -}}
{{- if gt (len .) 2 -}}{{- $_ := set $annotations (index . 1) (index . 2) -}}{{- end -}}
{{- with $annotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Every flag is an environment variable too. (list root) */ -}}
{{- define "spatial-flow.connection" -}}
{{- $root := index . 0 -}}
- name: SPATIALFLOW_NATS
  value: {{ include "spatial-flow.natsURL" $root | quote }}
{{- with $root.Values.nats.prefix }}
- name: SPATIALFLOW_NATS_PREFIX
  value: {{ . | quote }}
{{- end }}
- name: SPATIALFLOW_NATS_PASSWORD_FILE
  value: /run/secrets/nats/password # two lines: the user, and the password
{{- end -}}

{{- define "spatial-flow.env" -}}
{{- $root := index . 0 -}}
{{ include "spatial-flow.connection" . }}
- name: SPATIALFLOW_ADMIN
  value: ":8001"
- name: SPATIALFLOW_LOG_LEVEL
  value: {{ $root.Values.log.level }}
- name: SPATIALFLOW_LOG_FORMAT
  value: {{ $root.Values.log.format }}
{{- end -}}

{{- define "spatial-flow.passwordMount" -}}
- name: nats-password
  mountPath: /run/secrets/nats
  readOnly: true
{{- end -}}

{{- /* A pod sees the password of its own role alone, and a new one without a restart. (list root role) */ -}}
{{- define "spatial-flow.passwordVolume" -}}
- name: nats-password
  secret:
    secretName: {{ include "spatial-flow.natsSecret" (index . 0) | quote }}
    defaultMode: 288 # 0440
    items:
      - key: "{{ index . 1 }}-{{ (index . 0).Values.nats.auth.user }}"
        path: password
{{- end -}}

{{- /* Startup and liveness never ask for NATS, nor for a model that is loaded: no restart brings either sooner. The admin
address answers from the first second; readiness alone asks for the rest. */ -}}
{{- define "spatial-flow.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 12
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{- /* One pod away at a time. (list root objectName selectorLabels labels) */ -}}
{{- define "spatial-flow.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ index . 1 | quote }}
  labels:
    {{- index . 3 | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- index . 2 | nindent 6 }}
{{- end -}}
