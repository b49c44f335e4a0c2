{{- /* A service without a state: its Deployment and, from two replicas on, its disruption budget. Of root, component,
settings, program, image, role and args and, as it likes, mounts and volumes. */ -}}
{{- define "spatial-flow.service" -}}
{{- $root := .root -}}
{{- $settings := .settings -}}
{{- $object := include "spatial-flow.objectName" (list $root .component) -}}
{{- $selector := include "spatial-flow.selector" (list $root .component) -}}
{{- $labels := include "spatial-flow.labels" (list $root .component) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $object | quote }}
  labels:
    {{- $labels | nindent 4 }}
spec:
  replicas: {{ $settings.replicas }}
  revisionHistoryLimit: {{ $root.Values.revisionHistoryLimit }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- $selector | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "spatial-flow.podLabels" (list $root .component) | nindent 8 }}
      {{- with include "spatial-flow.podAnnotations" (list $root) }}{{ . | nindent 6 }}{{ end }}
    spec:
      {{- include "spatial-flow.pod" (list $root $settings) | nindent 6 }}
      {{- with include "spatial-flow.tolerations" (list $root $settings) }}{{ . | nindent 6 }}{{ end }}
      {{- with include "spatial-flow.spread" (list $settings.topologySpreadConstraints $selector) }}{{ . | nindent 6 }}{{ end }}
      containers:
        - name: {{ .component | quote }}
          image: {{ include "spatial-flow.image" (list $root .image) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: [{{ .program }}]
          {{- with concat .args $settings.args }}
          args:
            {{- range . }}
            - {{ . | quote }}
            {{- end }}
          {{- end }}
          env:
            {{- include "spatial-flow.env" (list $root) | nindent 12 }}
            {{- if eq .image "static" }}
            - name: GOMEMLIMIT
              value: {{ include "spatial-flow.bytes" (list $settings.resources.limits.memory 0.8) | quote }}
            {{- end }}
            {{- with $settings.env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            - {name: admin, containerPort: 8001}
            {{- if eq .component "gateway" }}
            - {name: http, containerPort: 8000}
            {{- end }}
          {{- if $settings.preStopSeconds }}
          lifecycle:
            preStop:
              sleep:
                seconds: {{ $settings.preStopSeconds }}
          {{- end }}
          {{- include "spatial-flow.probes" . | nindent 10 }}
          resources:
            {{- toYaml $settings.resources | nindent 12 }}
          {{- include "spatial-flow.containerSecurity" $root | nindent 10 }}
          volumeMounts:
            {{- include "spatial-flow.passwordMount" $root | nindent 12 }}
            {{- with .mounts }}{{ . | nindent 12 }}{{ end }}
            {{- if eq .image "vision" }}
            - name: tmp
              mountPath: /tmp
            {{- end }}
      volumes:
        {{- include "spatial-flow.passwordVolume" (list $root .role) | nindent 8 }}
        {{- with .volumes }}{{ . | nindent 8 }}{{ end }}
        {{- if eq .image "vision" }}
        - name: tmp
          emptyDir:
            sizeLimit: 1Gi
        {{- end }}
{{- if and $root.Values.podDisruptionBudgets (ge (int $settings.replicas) 2) }}
---
{{ include "spatial-flow.budget" (list $root $object $selector $labels) }}
{{- end }}
{{- end -}}
